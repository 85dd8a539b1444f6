const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export const routes = {
  '/': (req, res) => res.json({ path: req.path, url: req.originalUrl, query: req.query }),
  '/teapot': (_req, res) => {
    res.set('x-tea', 'green').cookie('a', '1').cookie('b', '2').status(418).send('short and stout')
  },
  '/echo': (req, res) => {
    res.type(req.get('content-type') ?? 'text/plain').send(req.rawBody)
  },
  '/parsed': (req, res) => res.json(req.body),
  '/none': (_req, res) => res.sendStatus(204),
  '/stream': async (_req, res) => {
    res.type('text/plain')
    for (const part of ['one ', 'two ', 'three']) {
      res.write(part)
      await pause(20)
    }
    res.end()
  },
  '/large': (_req, res) => {
    res.type('application/octet-stream')
    let left = 64
    const more = () => {
      while (left-- > 0) if (!res.write(Buffer.alloc(65_536, 7))) return res.once('drain', more)
      res.end()
    }
    more()
  },
  '/fail': () => {
    throw new Error('this is broken')
  },
  '/reject': async () => {
    await pause(1)
    throw new Error('this is broken later')
  },
}
