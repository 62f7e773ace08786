/** What the browser keeps for a person: language, theme. Without storage nothing is kept. */

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`davy.${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(`davy.${key}`, value);
  } catch {
    // A browser that keeps nothing still works.
  }
}
