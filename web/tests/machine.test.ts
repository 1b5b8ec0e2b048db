import { describe, expect, it } from "vitest";

import { backoff, IDLE, SILENCE_MS, step, type LiveInput, type LiveState } from "@/live/machine";

function run(inputs: LiveInput[], from: LiveState = IDLE): { state: LiveState; effects: string[] } {
  let state = from;
  const effects: string[] = [];
  for (const input of inputs) {
    const next = step(state, input, 0.5);
    state = next.state;
    effects.push(...next.effects.map((effect) => ("since" in effect ? `${effect.do} ${String(effect.since)}` : effect.do)));
  }
  return { state, effects };
}

const LIVE: LiveInput[] = [
  { type: "start", since: 7, at: 1_000 },
  { type: "opened", at: 1_100 },
  { type: "heard", at: 1_200, sequence: 9 },
];

describe("the live machine", () => {
  it("connects from where the page was loaded and follows the sequence", () => {
    const { state, effects } = run(LIVE);
    expect(effects).toEqual(["disconnect", "connect 7"]);
    expect(state).toMatchObject({ phase: "live", sequence: 9, downSince: null, lastHeardAt: 1_200 });
  });

  it("resumes after the last number it heard, however often the line breaks", () => {
    const { state, effects } = run([
      ...LIVE,
      { type: "failed", at: 2_000, refused: false },
      { type: "retry", at: 3_000 },
      { type: "failed", at: 3_100, refused: false },
      { type: "retry", at: 4_000 },
      { type: "opened", at: 4_100 },
      { type: "heard", at: 4_200, sequence: 12 },
    ]);
    expect(effects.filter((effect) => effect.startsWith("connect"))).toEqual(["connect 7", "connect 9", "connect 9"]);
    expect(state).toMatchObject({ phase: "live", sequence: 12, failures: 0 });
  });

  it("remembers since when it is down, not since the last attempt", () => {
    const { state } = run([
      ...LIVE,
      { type: "failed", at: 2_000, refused: false },
      { type: "retry", at: 3_000 },
      { type: "failed", at: 3_100, refused: false },
    ]);
    expect(state).toMatchObject({ phase: "waiting", downSince: 2_000, failures: 2, lastHeardAt: 1_200 });
  });

  it("gives up a line that has been silent for two heartbeats", () => {
    const early = run([...LIVE, { type: "checked", at: 1_200 + SILENCE_MS }]);
    expect(early.state.phase).toBe("live");
    const late = run([...LIVE, { type: "checked", at: 1_201 + SILENCE_MS }]);
    expect(late.state.phase).toBe("waiting");
    expect(late.effects.slice(-2)).toEqual(["disconnect", "wait"]);
  });

  it("stops knocking when the session has ended", () => {
    const { state, effects } = run([...LIVE, { type: "failed", at: 2_000, refused: true }, { type: "retry", at: 3_000 }]);
    expect(state.phase).toBe("refused");
    expect(effects.at(-1)).toBe("disconnect");
  });

  it("asks for everything afresh when what it missed is no longer kept", () => {
    const { state, effects } = run([...LIVE, { type: "reset", at: 2_000 }]);
    expect(effects.slice(-2)).toEqual(["disconnect", "reload"]);
    expect(state.phase).toBe("idle");
  });

  it("ignores what a connection says after it was given up", () => {
    const { state } = run([...LIVE, { type: "failed", at: 2_000, refused: false }, { type: "heard", at: 2_100, sequence: 99 }]);
    expect(state).toMatchObject({ phase: "waiting", sequence: 9 });
  });

  it("backs off further with every failure, up to a limit", () => {
    expect(backoff(1, 0)).toBeGreaterThan(0);
    expect(backoff(3, 0.999)).toBeGreaterThan(backoff(1, 0.999));
    expect(backoff(50, 0.999)).toBeLessThanOrEqual(15_000);
  });
});
