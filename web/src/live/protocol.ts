/** What a tab and the holder of the shared live connection say to each other. */
import type { LiveState } from "./machine";

export interface Change {
  sequence: number;
  topic: string;
  payload: unknown;
}

/** The server's clock at the browser's moment `at`. */
export interface Hello {
  time: number;
  speed: number;
  at: number;
}

export type ToTab =
  | { type: "status"; state: LiveState }
  | { type: "hello"; hello: Hello }
  | { type: "change"; change: Change }
  | { type: "reset" }
  /** A new holder took over: every tab says again from where it needs changes. */
  | { type: "who" };

export type ToHub = { type: "join"; since: number } | { type: "leave" };
