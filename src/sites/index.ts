export { SiteFiles } from './files.ts'
export { artefactOf, isSiteName, type NewSiteFile, siteFilesSchema } from './manifest.ts'
export { type SiteRequest, siteReply, textReply } from './reply.ts'
export { checkSiteName, type Site, type SiteInfo, Sites } from './service.ts'
