import { describe, expect, it } from "vitest";

import type { Alert } from "@/api/types";
import { byUrgency, isOpen, mix, needsAttention, rankOf, tokenOf } from "@/lib/colours";

function alert(changes: Partial<Alert>): Alert {
  return {
    id: "a", rule: "r", key: "k", site: "s", node: "n", device: null, colour: "yellow",
    state: "unacknowledged", began_at: 1, raised_at: 1, noticed_at: 1, worsened_at: null,
    cleared_at: null, late: false, revision: 1, attention: 1, title: { zh: "", en: "" },
    advice: { zh: "", en: "" }, reason: {}, acknowledged_at: null, acknowledged_by: null,
    acknowledged_revision: 0, path: [], ...changes,
  };
}

describe("the order of the alert list", () => {
  it("puts the most urgent first, then the unseen, then what stands, then the newest", () => {
    const list = [
      alert({ id: "seen red", colour: "red", state: "acknowledged" }),
      alert({ id: "old yellow", raised_at: 5 }),
      alert({ id: "red", colour: "red" }),
      alert({ id: "over yellow", state: "rtn_unacknowledged", cleared_at: 9, raised_at: 9 }),
      alert({ id: "new yellow", raised_at: 8 }),
      alert({ id: "orange", colour: "orange" }),
    ];
    expect(list.sort(byUrgency).map(({ id }) => id)).toEqual([
      "red", "seen red", "orange", "new yellow", "old yellow", "over yellow",
    ]);
  });

  it("keeps what is over until somebody has seen it, and never history", () => {
    expect(isOpen(alert({ state: "rtn_unacknowledged", cleared_at: 2 }))).toBe(true);
    expect(isOpen(alert({ state: "normal", cleared_at: 2 }))).toBe(false);
    expect(isOpen(alert({ state: "acknowledged" }))).toBe(true);
    expect(isOpen(alert({ state: "normal", cleared_at: 2, late: true }))).toBe(false);
  });

  it("asks for attention only while nobody has acknowledged", () => {
    expect(needsAttention(alert({}))).toBe(true);
    expect(needsAttention(alert({ state: "acknowledged" }))).toBe(false);
    expect(needsAttention(alert({ state: "shelved" }))).toBe(false);
  });
});

describe("the colours", () => {
  it("are ordered as the contracts order them", () => {
    expect(["red", "orange", "yellow", "blue", "green", "grey"].map(rankOf)).toEqual([4, 3, 2, 1, 0, -1]);
  });

  it("show a word that is no colour as unknown", () => {
    expect(tokenOf("purple").colour).toBe("grey");
  });

  it("mix by shares", () => {
    expect(mix("#ff0000", "#0000ff", 1)).toBe("#ff0000");
    expect(mix("#ff0000", "#0000ff", 0)).toBe("#0000ff");
    expect(mix("#000000", "#ffffff", 0.5)).toBe("#808080");
  });
});
