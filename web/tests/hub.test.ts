import { describe, expect, it } from "vitest";

import type { Connection, ConnectionEvents } from "@/live/connection";
import { createHub, type Hub } from "@/live/hub";
import { IDLE } from "@/live/machine";
import type { ToTab } from "@/live/protocol";

interface Rig {
  hub: Hub;
  starts: number[];
  stops: () => number;
  arrive: (sequence: number) => void;
  events: ConnectionEvents;
}

function rig(): Rig {
  const starts: number[] = [];
  let stopped = 0;
  let made: ConnectionEvents | undefined;
  const hub = createHub((events): Connection => {
    made = events;
    return {
      start: (since) => starts.push(since),
      stop: () => {
        stopped += 1;
      },
      state: IDLE,
    };
  });
  if (made === undefined) throw new Error("the hub made no connection");
  const events = made;
  const arrive = (sequence: number): void => {
    events.change({ sequence, topic: "alert", payload: null });
  };
  return { hub, starts, stops: () => stopped, arrive, events };
}

const changesOf = (messages: ToTab[]): number[] =>
  messages.flatMap((message) => (message.type === "change" ? [message.change.sequence] : []));

describe("the hub that tabs share", () => {
  it("opens one connection for two tabs and replays what the second missed", () => {
    const { hub, starts, arrive } = rig();
    const first: ToTab[] = [];
    const second: ToTab[] = [];
    hub.join((message) => first.push(message), 10);
    [11, 12, 13].forEach(arrive);
    hub.join((message) => second.push(message), 12);
    arrive(14);
    expect(starts).toEqual([10]);
    expect(changesOf(first)).toEqual([11, 12, 13, 14]);
    expect(changesOf(second)).toEqual([13, 14]);
  });

  it("goes back for a tab that has loaded less than is kept", () => {
    const { hub, starts } = rig();
    hub.join(() => undefined, 10);
    hub.join(() => undefined, 4);
    expect(starts).toEqual([10, 4]);
  });

  it("keeps a bounded number of changes and knows which", () => {
    const { hub, starts, arrive } = rig();
    hub.join(() => undefined, 0);
    for (let sequence = 1; sequence <= 2_500; sequence++) arrive(sequence);
    hub.join(() => undefined, 500);
    expect(starts).toEqual([0]);
    hub.join(() => undefined, 499);
    expect(starts).toEqual([0, 499]);
  });

  it("starts anew after a reset, from where the first tab has loaded again", () => {
    const { hub, starts, events } = rig();
    const messages: ToTab[] = [];
    const tab = (message: ToTab): void => {
      messages.push(message);
    };
    hub.join(tab, 10);
    events.reset();
    expect(messages.at(-1)).toEqual({ type: "reset" });
    hub.join(tab, 3);
    expect(starts).toEqual([10, 3]);
  });

  it("hangs up when the last tab has gone", () => {
    const { hub, stops } = rig();
    const one = (): void => undefined;
    const two = (): void => undefined;
    hub.join(one, 1);
    hub.join(two, 1);
    hub.leave(one);
    expect(stops()).toBe(0);
    hub.leave(two);
    expect(stops()).toBe(1);
  });
});
