/** Finds the id of a snapshot in an alert's reason or a step's detail. */
export function snapshotOf(value: unknown, depth = 0): string | null {
  if (typeof value !== "object" || value === null || depth > 5) return null;
  for (const [key, inner] of Object.entries(value)) {
    if (key === "snapshot" && typeof inner === "string" && inner !== "") return inner;
    const found = snapshotOf(inner, depth + 1);
    if (found !== null) return found;
  }
  return null;
}
