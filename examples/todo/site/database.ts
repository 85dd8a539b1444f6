export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
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
