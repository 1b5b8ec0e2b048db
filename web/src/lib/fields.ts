/** Which fields of a device's latest values can be drawn, and what is drawn first. */
import type { DeviceEvent } from "@/api/types";

export interface FieldRef {
  kind: string;
  field: string;
  logical: boolean;
  /** Other kinds of the device have a field of this name, too. */
  shared: boolean;
}

const FIRST = ["power_w", "energy_kwh", "voltage_l1_v", "floor", "load_kg", "value", "count", "latency_ms"];
const NEVER = new Set(["serial", "last_contact"]);

const place = (field: string): number => {
  const index = FIRST.indexOf(field);
  return index < 0 ? FIRST.length : index;
};

/** Numbers first, the most telling ones in front; then what is yes or no. */
export function drawable(latest: readonly DeviceEvent[]): FieldRef[] {
  const found: FieldRef[] = [];
  for (const { kind, data } of latest) {
    for (const [field, value] of Object.entries(data)) {
      if (NEVER.has(field)) continue;
      if (typeof value === "number") found.push({ kind, field, logical: false, shared: false });
      else if (typeof value === "boolean") found.push({ kind, field, logical: true, shared: false });
    }
  }
  for (const ref of found) ref.shared = found.some((other) => other !== ref && other.field === ref.field);
  return found.sort((a, b) => Number(a.logical) - Number(b.logical) || place(a.field) - place(b.field));
}

export const keyOf = (ref: Pick<FieldRef, "kind" | "field">): string => `${ref.kind}/${ref.field}`;
