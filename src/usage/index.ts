export { type PriceList, PriceListError, readPriceList } from './prices.ts'
export { type MeterEntry, Usage } from './service.ts'
