/**
 * When the live connection is opened, resumed, given up and waited for: a pure machine.
 *
 * It is told what happened and answers with its next state and what to do; timers, network and
 * clock are the caller's. Times are milliseconds of the browser's own clock.
 */

/** The server writes a heartbeat each 15 s; two missing ones mean that the line is dead. */
export const SILENCE_MS = 35_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_LIMIT_MS = 15_000;

export type Phase = "idle" | "connecting" | "live" | "waiting" | "refused";

export interface LiveState {
  phase: Phase;
  /** The last sequence number that arrived; the next connection resumes after it. */
  sequence: number;
  /** Failed attempts in a row. */
  failures: number;
  /** When the line was last known to be good, or null before the first time. */
  lastHeardAt: number | null;
  /** Since when the line has been down, or null while it is up. */
  downSince: number | null;
}

export type LiveInput =
  | { type: "start"; since: number; at: number }
  | { type: "opened"; at: number }
  | { type: "heard"; at: number; sequence?: number }
  | { type: "reset"; at: number }
  | { type: "failed"; at: number; refused: boolean }
  | { type: "retry"; at: number }
  | { type: "checked"; at: number }
  | { type: "stop" };

export type LiveEffect =
  | { do: "connect"; since: number }
  | { do: "disconnect" }
  | { do: "wait"; forMs: number }
  | { do: "reload" };

export interface LiveStep {
  state: LiveState;
  effects: LiveEffect[];
}

export const IDLE: LiveState = {
  phase: "idle",
  sequence: 0,
  failures: 0,
  lastHeardAt: null,
  downSince: null,
};

/** Exponential back-off with full jitter; `random` is in [0, 1). */
export function backoff(failures: number, random: number): number {
  const ceiling = Math.min(BACKOFF_LIMIT_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failures, 10));
  return Math.round(BACKOFF_FIRST_MS / 2 + random * (ceiling - BACKOFF_FIRST_MS / 2));
}

function lost(state: LiveState, at: number, random: number): LiveStep {
  const failures = state.failures + 1;
  return {
    state: { ...state, phase: "waiting", failures, downSince: state.downSince ?? at },
    effects: [{ do: "disconnect" }, { do: "wait", forMs: backoff(failures, random) }],
  };
}

function heard(state: LiveState, at: number, sequence: number | undefined): LiveStep {
  return {
    state: {
      ...state,
      phase: "live",
      failures: 0,
      lastHeardAt: at,
      downSince: null,
      sequence: Math.max(state.sequence, sequence ?? 0),
    },
    effects: [],
  };
}

export function step(state: LiveState, input: LiveInput, random = Math.random()): LiveStep {
  switch (input.type) {
    case "start":
      return {
        state: {
          ...state,
          phase: "connecting",
          sequence: input.since,
          failures: 0,
          downSince: state.downSince ?? (state.phase === "live" ? null : input.at),
        },
        effects: [{ do: "disconnect" }, { do: "connect", since: input.since }],
      };
    case "opened":
      return state.phase === "connecting" ? heard(state, input.at, undefined) : unchanged(state);
    case "heard":
      return state.phase === "live" || state.phase === "connecting"
        ? heard(state, input.at, input.sequence)
        : unchanged(state);
    case "reset":
      // The gap cannot be filled: everybody loads afresh and says from where to go on.
      return {
        state: { ...state, phase: "idle", lastHeardAt: input.at, downSince: input.at },
        effects: [{ do: "disconnect" }, { do: "reload" }],
      };
    case "failed":
      if (state.phase !== "connecting" && state.phase !== "live") return unchanged(state);
      if (!input.refused) return lost(state, input.at, random);
      return {
        state: { ...state, phase: "refused", downSince: state.downSince ?? input.at },
        effects: [{ do: "disconnect" }],
      };
    case "retry":
      if (state.phase !== "waiting") return unchanged(state);
      return {
        state: { ...state, phase: "connecting" },
        effects: [{ do: "connect", since: state.sequence }],
      };
    case "checked":
      return state.phase === "live" && input.at - (state.lastHeardAt ?? input.at) > SILENCE_MS
        ? lost(state, input.at, random)
        : unchanged(state);
    case "stop":
      return { state: { ...IDLE }, effects: [{ do: "disconnect" }] };
  }
}

function unchanged(state: LiveState): LiveStep {
  return { state, effects: [] };
}
