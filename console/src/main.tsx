import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { language } from './text.ts'

document.documentElement.lang = language()
const root = document.getElementById('root')
if (root) createRoot(root).render(<App />)
