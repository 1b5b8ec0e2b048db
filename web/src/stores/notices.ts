/** Short notices at the edge of the screen. */
import { reactive, readonly, type DeepReadonly } from "vue";

export type Tone = "info" | "good" | "bad";

export interface Notice {
  id: number;
  tone: Tone;
  text: string;
}

const SHOWN_MS = 7_000;
const MOST = 4;
const notices = reactive<Notice[]>([]);
let last = 0;

export function dismiss(id: number): void {
  const index = notices.findIndex((notice) => notice.id === id);
  if (index >= 0) notices.splice(index, 1);
}

export function notify(text: string, tone: Tone = "info"): void {
  const id = ++last;
  notices.push({ id, tone, text });
  while (notices.length > MOST) notices.shift();
  setTimeout(() => {
    dismiss(id);
  }, SHOWN_MS);
}

export const useNotices = (): DeepReadonly<Notice[]> => readonly(notices);
