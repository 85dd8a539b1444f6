/**
 * The small tables of the property test: as SQL makes them, and as the interpreter reads them. Some columns are named as
 * their table is, or as statements name what they make.
 */

export type Scalar = string | number | boolean | null
export type Json = Scalar | readonly Json[] | { readonly [key: string]: Json }
export type Row = Readonly<Record<string, Json>>
export type ColumnType = 'int' | 'text' | 'bool' | 'numeric' | 'jsonb' | 'text[]'

export interface Table {
  readonly key: readonly string[]
  readonly columns: Readonly<Record<string, ColumnType>>
  /** What functions of a row give: asked for by name, and not in `*`. */
  readonly computed: Readonly<Record<string, (row: Row) => Json>>
  readonly rows: readonly Row[]
  /** Of which rows the policies know. */
  readonly isSeen: (row: Row) => boolean
  readonly embeds: readonly Relation[]
}

export interface Relation {
  /** What a request calls it: a table, a column, a constraint or a function, and a hint where there is a choice. */
  readonly name: string
  readonly hint: string | null
  readonly to: string
  readonly isToOne: boolean
  readonly ties: (from: Row, to: Row, world: World) => boolean
}

export type World = Readonly<Record<string, Table>>

const WORDS = ['ann', 'Bob', 'a,b', 'q"x', 'back\\slash', '(p)', '한글', '', 'null', 'x.y', '{z}', 'ann lee']

const authors: Row[] = [
  { id: 1, name: 'ann', authors: 1950, meta: { a: 1, b: { c: 'x' }, list: [1, 'two', null] }, tags: ['red', 'blue'] },
  { id: 2, name: 'Bob', authors: null, meta: { a: '1', list: [] }, tags: [] },
  { id: 3, name: 'a,b', authors: 1950, meta: null, tags: null },
  { id: 4, name: 'q"x', authors: 1960, meta: { a: null, b: { c: 'y' } }, tags: ['blue'] },
  { id: 5, name: '한글', authors: 1971, meta: { a: [1, 2], list: [{ c: 3 }] }, tags: ['red', 'green', 'red'] },
  { id: 6, name: '', authors: 1960, meta: { a: true }, tags: ['two words'] },
]
const books: Row[] = Array.from({ length: 14 }, (_, index) => ({
  id: index + 1,
  author_id: [1, 1, 1, 2, 3, 3, null, 5, 5, 6, 1, 2, null, 4][index] as number | null,
  sequel_of: [null, 1, 2, null, 5, null, 4, 8, 8, null, 9, null, 1, 3][index] as number | null,
  title: WORDS[index % WORDS.length] as string,
  pages: index % 5 === 3 ? null : 50 * (index % 6),
  price: index % 4 === 2 ? null : `${index * 3}.${index % 2 === 0 ? '50' : '00'}`,
  lent: [true, false, null][index % 3] as boolean | null,
  secret: index === 3 || index === 8 || index === 12,
}))
const reviews: Row[] = Array.from({ length: 18 }, (_, index) => ({
  id: index + 1,
  book_id: ((index * 5) % 14) + 1,
  each: index % 6,
  value: index % 4 === 0 ? null : (WORDS[(index * 7) % WORDS.length] as string),
}))
const details: Row[] = [1, 2, 4, 5, 8, 11, 14].map((book_id) => ({ book_id, isbn: `isbn-${book_id}` }))
const shelves: Row[] = [
  { id: 1, shown: 'ann' },
  { id: 2, shown: 'x.y' },
  { id: 3, shown: 'empty' },
]
const shelf_books: Row[] = [
  [1, 1],
  [1, 2],
  [1, 4],
  [2, 1],
  [2, 9],
  [2, 14],
].map(([shelf_id, book_id]) => ({ shelf_id: shelf_id as number, book_id: book_id as number }))

const always = () => true
const byKey = (own: string, other: string) => (from: Row, to: Row) => from[own] !== null && from[own] === to[other]
const onShelf = (book: Row, shelf: Row, { shelf_books: junction }: World) =>
  (junction as Table).rows.some((row) => row.book_id === book.id && row.shelf_id === shelf.id)
const isLong = ({ pages }: Row) => typeof pages === 'number' && pages >= 150

const bookColumns = {
  id: 'int',
  author_id: 'int',
  sequel_of: 'int',
  title: 'text',
  pages: 'int',
  price: 'numeric',
  lent: 'bool',
  secret: 'bool',
} as const
const ofBooks: readonly Relation[] = [
  { name: 'authors', hint: null, to: 'authors', isToOne: true, ties: byKey('author_id', 'id') },
  { name: 'author_id', hint: null, to: 'authors', isToOne: true, ties: byKey('author_id', 'id') },
  { name: 'authors', hint: 'books_author_id_fkey', to: 'authors', isToOne: true, ties: byKey('author_id', 'id') },
  { name: 'reviews', hint: null, to: 'reviews', isToOne: false, ties: byKey('id', 'book_id') },
  { name: 'details', hint: null, to: 'details', isToOne: true, ties: byKey('id', 'book_id') },
  { name: 'shelves', hint: null, to: 'shelves', isToOne: false, ties: onShelf },
  { name: 'sequel_of', hint: null, to: 'books', isToOne: true, ties: byKey('sequel_of', 'id') },
  { name: 'books', hint: null, to: 'books', isToOne: false, ties: byKey('id', 'sequel_of') },
]
const isNoSecret = ({ secret }: Row) => secret !== true

export const WORLD: World = {
  authors: {
    key: ['id'],
    columns: { id: 'int', name: 'text', authors: 'int', meta: 'jsonb', tags: 'text[]' },
    computed: { initial: ({ name }) => [...(name as string)][0] ?? '' },
    rows: authors,
    isSeen: always,
    embeds: [
      { name: 'books', hint: null, to: 'books', isToOne: false, ties: byKey('id', 'author_id') },
      { name: 'books', hint: 'author_id', to: 'books', isToOne: false, ties: byKey('id', 'author_id') },
      { name: 'long_books', hint: null, to: 'books', isToOne: false, ties: (from, to) => to.author_id === from.id && isLong(to) },
      { name: 'first_book', hint: null, to: 'books', isToOne: true, ties: (from, to, world) => firstOf(from, world) === to.id },
    ],
  },
  books: { key: ['id'], columns: bookColumns, computed: {}, rows: books, isSeen: isNoSecret, embeds: ofBooks },
  reviews: {
    key: ['id'],
    columns: { id: 'int', book_id: 'int', each: 'int', value: 'text' },
    computed: {},
    rows: reviews,
    isSeen: always,
    embeds: [{ name: 'books', hint: null, to: 'books', isToOne: true, ties: byKey('book_id', 'id') }],
  },
  details: {
    key: ['book_id'],
    columns: { book_id: 'int', isbn: 'text' },
    computed: {},
    rows: details,
    isSeen: always,
    embeds: [{ name: 'books', hint: null, to: 'books', isToOne: true, ties: byKey('book_id', 'id') }],
  },
  shelves: {
    key: ['id'],
    columns: { id: 'int', shown: 'text' },
    computed: {},
    rows: shelves,
    isSeen: always,
    embeds: [
      { name: 'books', hint: null, to: 'books', isToOne: false, ties: (from, to, world) => onShelf(to, from, world) },
      { name: 'books', hint: 'shelf_books', to: 'books', isToOne: false, ties: (from, to, world) => onShelf(to, from, world) },
    ],
  },
  shelf_books: { key: ['shelf_id', 'book_id'], columns: { shelf_id: 'int', book_id: 'int' }, computed: {}, rows: shelf_books, isSeen: always, embeds: [] },
}

const firstOf = (author: Row, world: World): Json =>
  (world.books as Table).rows.filter((row) => row.author_id === author.id && isNoSecret(row)).map((row) => row.id as number)[0] ?? null

export const WORLD_SQL = `
  create table authors (id int primary key, name text not null, authors int, meta jsonb, tags text[]);
  create table books (id int primary key, author_id int references authors (id), sequel_of int references books (id), title text, pages int,
    price numeric(8,2), lent bool, secret bool not null default false);
  create table reviews (id int primary key, book_id int references books (id), each int, value text);
  create table details (book_id int primary key references books (id), isbn text);
  create table shelves (id int primary key, shown text);
  create table shelf_books (shelf_id int references shelves (id), book_id int references books (id), primary key (shelf_id, book_id));
  create function initial(authors) returns text language sql stable as 'select left($1.name, 1)';
  create function long_books(authors) returns setof books language sql stable as 'select * from books where author_id = $1.id and pages >= 150';
  create function first_book(authors) returns setof books rows 1 language sql stable as 'select * from books where author_id = $1.id order by id limit 1';
  alter table books enable row level security;
  create policy no_secrets on books to anon using (not secret) with check (not secret);
  select mayfly.configure_data('db_aggregates_enabled', 'true'), mayfly.configure_data('db_tx_end', 'commit-allow-override');
`

/** The rows, as SQL. */
export const fillWorld = (): string =>
  Object.entries(WORLD)
    .map(([name, { rows }]) => `insert into ${name} select * from json_populate_recordset(null::${name}, $rows$${JSON.stringify(rows)}$rows$);`)
    .join('\n')
