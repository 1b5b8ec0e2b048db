import { describe, expect, it } from "vitest";

import { drawable } from "@/lib/fields";
import { decimal, span } from "@/lib/format";
import { withGaps, widestStep } from "@/lib/gaps";
import { centre, closed, grown } from "@/lib/geometry";
import { reasonLines } from "@/lib/reason";
import { snapshotOf } from "@/lib/snapshot";
import { splitField, unitOf } from "@/lib/units";

describe("units", () => {
  it("come from the field's name", () => {
    expect(splitField("energy_kwh")).toEqual({ stem: "energy", unit: "kWh" });
    expect(splitField("flow_m3_h")).toEqual({ stem: "flow", unit: "m³/h" });
    expect(splitField("voltage_l1_v").unit).toBe("V");
    expect(splitField("floor")).toEqual({ stem: "floor", unit: "" });
  });

  it("come with the value where a sensor says them", () => {
    expect(unitOf("value", { unit: "Cel" })).toBe("°C");
    expect(unitOf("value", { unit: "Pa" })).toBe("Pa");
  });
});

describe("what can be drawn", () => {
  it("is named with its kind where two kinds have a field of one name", () => {
    const at = 0;
    const drawn = drawable([
      { at, kind: "camera.tamper", data: { active: true, cause: "covered" } },
      { at, kind: "camera.motion", data: { active: false, area: 0.2 } },
    ]);
    expect(drawn.map(({ kind, field, shared }) => [kind, field, shared])).toEqual([
      ["camera.motion", "area", false],
      ["camera.tamper", "active", true],
      ["camera.motion", "active", true],
    ]);
  });
});

describe("spans of time", () => {
  it("have at most their two largest units", () => {
    expect(span(0, "en")).toBe("0 s");
    expect(span(59_999, "en")).toBe("59 s");
    expect(span(7_500_000, "en")).toBe("2 h 5 min");
    expect(span(7_200_000, "zh")).toBe("2 小时");
    expect(span(90_061_000, "en")).toBe("1 d 1 h");
    expect(span(86_405_000, "en")).toBe("1 d");
    expect(span(-5, "zh")).toBe("0 秒");
  });
});

describe("numbers", () => {
  it("are grouped and rounded", () => {
    expect(decimal(12_345.678, "en")).toBe("12,345.68");
    expect(decimal(3, "zh")).toBe("3");
  });
});

describe("charts", () => {
  it("leave a gap where nothing was heard", () => {
    expect(withGaps([[0, 1], [10, 2], [100, 3]], 20)).toEqual([[0, 1], [10, 2], [11, null], [100, 3]]);
    expect(withGaps([[0, true], [10, "off"]], 20)).toEqual([[0, 1], [10, null]]);
  });

  it("do not call the device's own interval a gap", () => {
    expect(widestStep(0, 60)).toBeGreaterThan(60_000);
    expect(widestStep(600_000, 60)).toBeGreaterThan(600_000);
  });
});

describe("reasons", () => {
  it("are opened to lines with times and spans recognised", () => {
    const lines = reasonLines({
      condition: "a > 1", values: { floor: 7, at: 1_763_000_000_000 }, for_ms: 60_000,
      zh: "句", en: "sentence", event: { edge: "e1", seq: 44 }, list: [1, 2], snapshot: "id",
    });
    expect(lines).toEqual([
      { key: "condition", under: [], value: "a > 1", as: "plain" },
      { key: "floor", under: ["values"], value: 7, as: "plain" },
      { key: "at", under: ["values"], value: 1_763_000_000_000, as: "time" },
      { key: "for_ms", under: [], value: 60_000, as: "span" },
      { key: "event", under: [], value: "e1 / 44", as: "plain" },
      { key: "list", under: [], value: "1, 2", as: "plain" },
    ]);
  });

  it("stay bounded", () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`k${String(index)}`, index]));
    expect(reasonLines(many)).toHaveLength(60);
  });

  it("tell where the picture is", () => {
    expect(snapshotOf({ values: { snapshot: "20261121-a" } })).toBe("20261121-a");
    expect(snapshotOf({ values: { score: 1 } })).toBeNull();
  });
});

describe("outlines", () => {
  const square: [number, number][] = [[0, 0], [2, 0], [2, 2], [0, 2]];

  it("are closed once", () => {
    expect(closed(square)).toHaveLength(5);
    expect(closed(closed(square))).toHaveLength(5);
    expect(closed([])).toEqual([]);
  });

  it("have a centre and grow about it", () => {
    expect(centre(square)).toEqual([1, 1]);
    expect(centre([[1, 1], [1, 1], [1, 1]])).toEqual([1, 1]);
    expect(grown(square, 2)[0]).toEqual([-1, -1]);
  });
});
