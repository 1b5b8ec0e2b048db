/** What the browser remembers for a person; nothing breaks where it may not remember. */

export function remembered<T extends string>(key: string, allowed: readonly T[]): T | null {
  try {
    const value = localStorage.getItem(`estate.${key}`);
    return allowed.find((word) => word === value) ?? null;
  } catch {
    return null; // Storage is blocked by the browser's settings.
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(`estate.${key}`, value);
  } catch {
    // Storage is blocked or full: the choice holds until the page is closed.
  }
}
