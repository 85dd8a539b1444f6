export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  __InternalSupabase: { PostgrestVersion: "14" }
  public: {
    Tables: {
      invitations: {
        Row: {
          code: string
          expires_at: string
          list_id: string
        }
        Insert: {
          code?: string
          expires_at?: string
          list_id: string
        }
        Update: {
          code?: string
          expires_at?: string
          list_id?: string
        }
        Relationships: [
          { foreignKeyName: "invitations_list_id_fkey"; columns: ["list_id"]; isOneToOne: false; referencedRelation: "lists"; referencedColumns: ["id"] },
        ]
      }
      lists: {
        Row: {
          created_at: string
          id: string
          owner: string
          owner_name: string
          title: string
        }
        Insert: {
          created_at?: string
          id?: string
          owner?: string
          owner_name?: string
          title: string
        }
        Update: {
          created_at?: string
          id?: string
          owner?: string
          owner_name?: string
          title?: string
        }
        Relationships: [
          { foreignKeyName: "lists_owner_fkey"; columns: ["owner"]; isOneToOne: false; referencedRelation: "users"; referencedColumns: ["id"] },
        ]
      }
      members: {
        Row: {
          id: string
          list_id: string
          name: string
          user_id: string
        }
        Insert: {
          id?: string
          list_id: string
          name: string
          user_id: string
        }
        Update: {
          id?: string
          list_id?: string
          name?: string
          user_id?: string
        }
        Relationships: [
          { foreignKeyName: "members_list_id_fkey"; columns: ["list_id"]; isOneToOne: false; referencedRelation: "lists"; referencedColumns: ["id"] },
          { foreignKeyName: "members_user_id_fkey"; columns: ["user_id"]; isOneToOne: false; referencedRelation: "users"; referencedColumns: ["id"] },
        ]
      }
      todos: {
        Row: {
          created_at: string
          done: boolean
          id: string
          list_id: string
          text: string
        }
        Insert: {
          created_at?: string
          done?: boolean
          id?: string
          list_id: string
          text: string
        }
        Update: {
          created_at?: string
          done?: boolean
          id?: string
          list_id?: string
          text?: string
        }
        Relationships: [
          { foreignKeyName: "todos_list_id_fkey"; columns: ["list_id"]; isOneToOne: false; referencedRelation: "lists"; referencedColumns: ["id"] },
        ]
      }
    }
    Views: { [_ in never]: never }
    Functions: {
      join_list: { Args: { code: string }; Returns: string }
    }
    Enums: { [_ in never]: never }
    CompositeTypes: { [_ in never]: never }
  }
}

type Schemas = Omit<Database, "__InternalSupabase">
type Elsewhere = { schema: keyof Schemas }
type At<Name> = Name extends { schema: infer S extends keyof Schemas } ? S : "public"
type Relations<S extends keyof Schemas> = Schemas[S]["Tables"] & Schemas[S]["Views"]
type Picked<All, Name, Of> = Name extends keyof All ? All[Name] : Of extends keyof All ? All[Of] : never
type Part<Entry, Name extends string> = Entry extends { [_ in Name]: infer Found } ? Found : never

export type Tables<Name extends keyof Relations<"public"> | Elsewhere, Of extends keyof Relations<At<Name>> = never> = Part<Picked<Relations<At<Name>>, Name, Of>, "Row">
export type TablesInsert<Name extends keyof Schemas["public"]["Tables"] | Elsewhere, Of extends keyof Schemas[At<Name>]["Tables"] = never> = Part<Picked<Schemas[At<Name>]["Tables"], Name, Of>, "Insert">
export type TablesUpdate<Name extends keyof Schemas["public"]["Tables"] | Elsewhere, Of extends keyof Schemas[At<Name>]["Tables"] = never> = Part<Picked<Schemas[At<Name>]["Tables"], Name, Of>, "Update">
export type Enums<Name extends keyof Schemas["public"]["Enums"] | Elsewhere, Of extends keyof Schemas[At<Name>]["Enums"] = never> = Picked<Schemas[At<Name>]["Enums"], Name, Of>
