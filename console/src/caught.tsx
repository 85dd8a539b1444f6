import { Component, type ReactNode } from 'react'
import { Failure } from './parts.tsx'

/** A page that cannot be drawn says so in its place; the others stay. React knows no other form for it than a class. */
export class Caught extends Component<{ readonly children: ReactNode }, { readonly error: unknown }> {
  override state: { readonly error: unknown } = { error: null }

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error }
  }

  override render(): ReactNode {
    return this.state.error === null ? this.props.children : <Failure error={this.state.error} again={() => this.setState({ error: null })} />
  }
}
