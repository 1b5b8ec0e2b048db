/** Drives the live machine with a streamed fetch; used by whoever holds the shared connection. */
import { IDLE, step, type LiveEffect, type LiveInput, type LiveState } from "./machine";
import type { Change, Hello } from "./protocol";
import { createParser, type ServerEvent } from "./sse";

export interface ConnectionEvents {
  status(state: LiveState): void;
  hello(hello: Hello): void;
  change(change: Change): void;
  reset(): void;
}

export interface Connection {
  start(since: number): void;
  stop(): void;
  readonly state: LiveState;
}

const URL_LIVE = "/api/v1/live";
const CHECK_MS = 5_000;

/** Return a stopped connection; nothing happens before `start`. */
export function createConnection(events: ConnectionEvents): Connection {
  let state: LiveState = IDLE;
  let abort: AbortController | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let check: ReturnType<typeof setInterval> | undefined;

  function feed(input: LiveInput): void {
    const before = state;
    const next = step(state, input);
    state = next.state;
    next.effects.forEach(perform);
    // Each heartbeat is told too: the tabs show how old their knowledge is.
    if (before !== state) events.status(state);
  }

  function perform(effect: LiveEffect): void {
    switch (effect.do) {
      case "connect":
        void connect(effect.since);
        break;
      case "disconnect":
        clearTimeout(retry);
        abort?.abort();
        abort = null;
        break;
      case "wait":
        retry = setTimeout(() => {
          feed({ type: "retry", at: Date.now() });
        }, effect.forMs);
        break;
      case "reload":
        events.reset();
        break;
    }
  }

  function receive(event: ServerEvent): void {
    const at = Date.now();
    const sequence = event.id === "" ? undefined : Number(event.id);
    if (event.event === "reset") {
      feed({ type: "reset", at });
      return;
    }
    const payload = parse(event.data);
    if (event.event === "hello") {
      const hello = payload as { seq?: number; time?: number; speed?: number } | null;
      // Fewer changes than we have seen: the records were replaced by others.
      if (hello?.seq !== undefined && hello.seq < state.sequence) {
        feed({ type: "reset", at });
        return;
      }
      events.hello({ time: hello?.time ?? at, speed: hello?.speed ?? 1, at });
      feed({ type: "heard", at });
      return;
    }
    if (sequence !== undefined && sequence <= state.sequence) return;
    feed({ type: "heard", at, ...(sequence === undefined ? {} : { sequence }) });
    events.change({ sequence: sequence ?? state.sequence, topic: event.event, payload });
  }

  async function connect(since: number): Promise<void> {
    const mine = new AbortController();
    abort = mine;
    const current = (): boolean => abort === mine;
    try {
      const response = await fetch(`${URL_LIVE}?since=${String(since)}`, {
        headers: { Accept: "text/event-stream", "Last-Event-ID": String(since) },
        credentials: "same-origin",
        cache: "no-store",
        signal: mine.signal,
      });
      if (!response.ok || response.body === null) {
        await response.body?.cancel();
        if (current()) {
          const refused = response.status === 401 || response.status === 403;
          feed({ type: "failed", at: Date.now(), refused });
        }
        return;
      }
      if (current()) feed({ type: "opened", at: Date.now() });
      await read(response.body, current);
    } catch {
      // An abort is ours; anything else is a broken line, which `failed` below reports.
    }
    if (current()) feed({ type: "failed", at: Date.now(), refused: false });
  }

  async function read(body: ReadableStream<Uint8Array>, current: () => boolean): Promise<void> {
    const decoder = new TextDecoder();
    const parser = createParser(
      (event) => {
        if (current()) receive(event);
      },
      () => {
        if (current()) feed({ type: "heard", at: Date.now() });
      },
    );
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || !current()) return;
      parser(decoder.decode(value, { stream: true }));
    }
  }

  return {
    start(since) {
      check ??= setInterval(() => {
        feed({ type: "checked", at: Date.now() });
      }, CHECK_MS);
      feed({ type: "start", since, at: Date.now() });
    },
    stop() {
      clearInterval(check);
      check = undefined;
      feed({ type: "stop" });
    },
    get state() {
      return state;
    },
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
