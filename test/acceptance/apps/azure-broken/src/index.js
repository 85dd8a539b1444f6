import { app } from '@azure/functions'

app.http('first', { handler: () => ({ body: 'first' }) })
app.http('first', { handler: () => ({ body: 'first again' }) })
