/**
 * Reads again, but not more often than the centre and the page can bear: at least `gap_ms` apart,
 * at least as long apart as twice the last read took, never two at once. The last request counts.
 */
export function throttled(gap_ms: number, read: () => Promise<void>): () => void {
  let isRunning = false;
  let isAsked = false;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let freeAt = 0;

  async function run(): Promise<void> {
    timer = null;
    isRunning = true;
    isAsked = false;
    const began = performance.now();
    try {
      await read();
    } finally {
      isRunning = false;
      freeAt = performance.now() + Math.max(gap_ms, 2 * (performance.now() - began));
      if (isAsked) ask();
    }
  }

  function ask(): void {
    isAsked = true;
    if (isRunning || timer !== null) return;
    timer = setTimeout(() => void run(), Math.max(0, freeAt - performance.now()));
  }
  return ask;
}
