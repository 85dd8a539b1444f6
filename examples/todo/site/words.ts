const en = {
  title: 'To do',
  language: 'Language',
  welcome: 'Lists that you share, in every browser at once.',
  email: 'E-mail',
  password: 'Password',
  passwordHint: '8 characters or more',
  signIn: 'Sign in',
  signUp: 'Create an account',
  signOut: 'Sign out',
  invited: 'You are invited to a list. Sign in, or create an account, to join it.',
  invitedHere: 'You are invited to a list: press “Join”. Its members will see your address.',
  lists: 'Lists',
  noLists: 'No list yet. Make one, or join one.',
  newList: 'New list',
  make: 'Make',
  joinList: 'Invitation code',
  join: 'Join',
  shared: 'shared by {who}',
  noTodos: 'Nothing to do.',
  newTodo: 'What is to be done?',
  add: 'Add',
  remove: 'Remove {who}',
  people: 'Who sees this list',
  owner: 'owner',
  you: 'you',
  invite: 'Invite somebody',
  inviteHint: 'Give this link to one person. It is good once, for seven days.',
  link: 'Invitation link',
  copy: 'Copy',
  copied: 'Copied.',
  leave: 'Leave this list',
  removeList: 'Delete this list',
  sure: 'Delete “{who}” and everything in it?',
  live: 'live',
  waiting: 'connecting',
  invalid_credentials: 'The address or the password is wrong.',
  user_already_exists: 'This address has an account already: sign in.',
  weak_password: 'The password is too short: 8 characters or more.',
  validation_failed: 'This is no valid e-mail address.',
  signup_disabled: 'New accounts are not taken at the moment.',
  over_request_rate_limit: 'Too many attempts. Wait a few minutes, then try again.',
  PT404: 'There is no such invitation, or it has been used.',
  '22P02': 'This is no invitation code.',
  '23514': 'This is empty, or too long.',
  '42501': 'You may not do that.',
  unreachable: 'The server cannot be reached. Try again in a moment.',
} as const

export type Word = keyof typeof en

const ko: Readonly<Record<Word, string>> = {
  title: '할 일',
  language: '언어',
  welcome: '함께 쓰는 목록이 모든 브라우저에 바로 나타납니다.',
  email: '이메일',
  password: '비밀번호',
  passwordHint: '8자 이상',
  signIn: '로그인',
  signUp: '계정 만들기',
  signOut: '로그아웃',
  invited: '목록에 초대받았습니다. 로그인하거나 계정을 만들면 참여할 수 있습니다.',
  invitedHere: '목록에 초대받았습니다. ‘참여’를 누르세요. 함께 쓰는 사람에게 내 이메일 주소가 보입니다.',
  lists: '목록',
  noLists: '아직 목록이 없습니다. 새로 만들거나 초대받은 목록에 참여하세요.',
  newList: '새 목록',
  make: '만들기',
  joinList: '초대 코드',
  join: '참여',
  shared: '{who} 님이 공유',
  noTodos: '할 일이 없습니다.',
  newTodo: '무엇을 할까요?',
  add: '추가',
  remove: '{who} 지우기',
  people: '이 목록을 보는 사람',
  owner: '소유자',
  you: '나',
  invite: '초대하기',
  inviteHint: '이 링크를 한 사람에게 전하세요. 7일 안에 한 번만 쓸 수 있습니다.',
  link: '초대 링크',
  copy: '복사',
  copied: '복사했습니다.',
  leave: '이 목록에서 나가기',
  removeList: '이 목록 삭제',
  sure: '‘{who}’ 목록과 그 안의 모든 항목을 삭제할까요?',
  live: '실시간',
  waiting: '연결 중',
  invalid_credentials: '이메일 주소나 비밀번호가 맞지 않습니다.',
  user_already_exists: '이미 계정이 있는 주소입니다. 로그인해 주세요.',
  weak_password: '비밀번호가 너무 짧습니다. 8자 이상으로 해 주세요.',
  validation_failed: '올바른 이메일 주소가 아닙니다.',
  signup_disabled: '지금은 새 계정을 만들 수 없습니다.',
  over_request_rate_limit: '시도가 너무 많습니다. 몇 분 뒤에 다시 해 주세요.',
  PT404: '없는 초대이거나 이미 쓴 초대입니다.',
  '22P02': '초대 코드가 아닙니다.',
  '23514': '비어 있거나 너무 깁니다.',
  '42501': '이 작업을 할 권한이 없습니다.',
  unreachable: '서버에 연결할 수 없습니다. 잠시 뒤에 다시 해 주세요.',
}

const LANGUAGES = { en, ko } as const
export type Language = keyof typeof LANGUAGES
const KEPT = 'todo-language'

const isLanguage = (name: string | null): name is Language => name !== null && name in LANGUAGES
const kept = localStorage.getItem(KEPT)
let language: Language = isLanguage(kept) ? kept : navigator.language.startsWith('ko') ? 'ko' : 'en'

export const currentLanguage = (): Language => language
export function chooseLanguage(chosen: Language): void {
  language = chosen
  localStorage.setItem(KEPT, chosen)
}

export const say = (word: Word, who = ''): string => LANGUAGES[language][word].replace('{who}', () => who)

/** What went wrong, in words of this page where it knows the code. */
export function sayError(error: { readonly code?: string | undefined; readonly name?: string; readonly message: string }): string {
  if (error.code && error.code in en) return say(error.code as Word)
  if (error.name === 'AuthRetryableFetchError' || /fetch/i.test(error.message)) return say('unreachable')
  return error.message
}

/** Puts the words of the page that stand in its HTML into the language that is chosen. */
export function translate(root: ParentNode): void {
  document.documentElement.lang = language
  document.title = say('title')
  for (const one of root.querySelectorAll<HTMLElement>('[data-say]')) one.textContent = say(one.dataset.say as Word)
  for (const one of root.querySelectorAll<HTMLElement>('[data-label]')) one.setAttribute('aria-label', say(one.dataset.label as Word))
}
