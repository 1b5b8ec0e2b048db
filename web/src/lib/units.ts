/** Units are in the names of the fields: `energy_kwh` is in kWh. */

const SUFFIXES: [suffix: string, unit: string][] = [
  ["_m3_h", "m³/h"],
  ["_kwh", "kWh"],
  ["_m3", "m³"],
  ["_hz", "Hz"],
  ["_kg", "kg"],
  ["_ms", "ms"],
  ["_w", "W"],
  ["_v", "V"],
  ["_a", "A"],
  ["_c", "°C"],
  ["_h", "h"],
  ["_s", "s"],
  ["_m", "m"],
];

export interface FieldParts {
  stem: string;
  unit: string;
}

/** Split a field's name into what it is and its unit, which is empty where it has none. */
export function splitField(field: string): FieldParts {
  for (const [suffix, unit] of SUFFIXES) {
    if (field.endsWith(suffix)) return { stem: field.slice(0, -suffix.length), unit };
  }
  return { stem: field, unit: "" };
}

/** The unit of a value: the name's own, or for a sensor the UCUM code that came with it. */
export function unitOf(field: string, data: Readonly<Record<string, unknown>> = {}): string {
  if (field === "value" && typeof data.unit === "string") return data.unit === "Cel" ? "°C" : data.unit;
  return splitField(field).unit;
}
