import { describe, expect, it } from "vitest";

import { createParser, type ServerEvent } from "@/live/sse";

function parse(chunks: string[]): { events: ServerEvent[]; comments: number } {
  const events: ServerEvent[] = [];
  let comments = 0;
  const parser = createParser(
    (event) => events.push(event),
    () => {
      comments += 1;
    },
  );
  chunks.forEach(parser);
  return { events, comments };
}

const TEXT = 'retry: 2000\nid: 4\nevent: alert\ndata: {"a":1}\n\n: heartbeat\n\nid: 5\nevent: colour\ndata: x\ndata: y\n\n';
const EXPECTED = [
  { id: "4", event: "alert", data: '{"a":1}' },
  { id: "5", event: "colour", data: "x\ny" },
];

describe("the parser of server-sent events", () => {
  it("reads events and counts heartbeats", () => {
    expect(parse([TEXT])).toEqual({ events: EXPECTED, comments: 1 });
  });

  it("does not mind where the network cuts", () => {
    for (let at = 1; at < TEXT.length; at++) {
      expect(parse([TEXT.slice(0, at), TEXT.slice(at)])).toEqual({ events: EXPECTED, comments: 1 });
    }
    expect(parse([...TEXT]).events).toEqual(EXPECTED);
  });

  it("takes every kind of line end", () => {
    for (const end of ["\r\n", "\r"]) {
      const { events } = parse([...`${TEXT.replaceAll("\n", end)}: end${end}`]);
      expect(events).toEqual(EXPECTED);
    }
  });

  it("delivers no event that was not finished", () => {
    expect(parse(["id: 1\nevent: alert\ndata: half"]).events).toEqual([]);
  });
});
