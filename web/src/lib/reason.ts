/** An alert's reason as lines for people: nested values are opened, times and spans spelt out. */

export interface ReasonLine {
  key: string;
  /** Names of the levels above, outermost first. */
  under: string[];
  value: string | number | boolean | null;
  as: "time" | "span" | "plain";
}

const FIRST_TIME = 1_000_000_000_000;
const MOST = 60;
/** Shown otherwise: the rule's own sentence in both languages, and the picture. */
const ELSEWHERE = new Set(["zh", "en", "snapshot"]);

function kindOf(key: string, value: unknown): ReasonLine["as"] {
  if (typeof value !== "number") return "plain";
  const timely = /(^|_)(at|since|until|time|heard|began|raised|from|to|contact)$/.test(key);
  if (timely && value > FIRST_TIME) return "time";
  return /^(for|window|within|expect|every|dwell|open)_m?s$/.test(key) ? "span" : "plain";
}

/** Flatten a reason; at most 60 lines, for a rule may quote much. */
export function reasonLines(reason: Readonly<Record<string, unknown>>): ReasonLine[] {
  const lines: ReasonLine[] = [];
  const visit = (key: string, value: unknown, under: string[]): void => {
    if (lines.length >= MOST || value === undefined || ELSEWHERE.has(key)) return;
    if (key === "event" && typeof value === "object" && value !== null) {
      // Which event it was: its identity in the log, one line for whoever looks it up.
      lines.push({ key, under, value: Object.values(value).map(String).join(" / "), as: "plain" });
    } else if (Array.isArray(value) && value.every((item) => typeof item !== "object" || item === null)) {
      lines.push({ key, under, value: value.map(String).join(", "), as: "plain" });
    } else if (typeof value === "object" && value !== null) {
      for (const [name, inner] of Object.entries(value)) visit(name, inner, [...under, key]);
    } else {
      lines.push({ key, under, value: value as ReasonLine["value"], as: kindOf(key, value) });
    }
  };
  for (const [key, value] of Object.entries(reason)) visit(key, value, []);
  return lines;
}
