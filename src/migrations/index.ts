export { Migrations, type MigrationStatus, type WantedMigration } from './service.ts'
export { checkMigrations, migrationsSchema } from './wanted.ts'
