/** The conservation law of the periods that the system page shows, read again now and then. */
import { onUnmounted, ref, type Ref } from "vue";

import { get } from "@/api/client";
import type { Conservation } from "@/api/types";
import { runNow } from "@/stores/clock";

const HOUR = 3_600_000;
const REFRESH_MS = 10_000;
const SPANS = { h24: 24 * HOUR, d7: 168 * HOUR, d30: 720 * HOUR };
export type Period = "today" | keyof typeof SPANS;
export const PERIODS: Period[] = ["today", "h24", "d7", "d30"];

export interface Laws {
  laws: Ref<Record<Period, Conservation> | null>;
  failed: Ref<boolean>;
  /** When the laws were read, in the run's time. */
  at: Ref<number>;
}

function startOf(period: Period, now: number): number {
  return period === "today" ? new Date(now).setHours(0, 0, 0, 0) : now - SPANS[period];
}

export function useConservation(): Laws {
  const laws = ref<Record<Period, Conservation> | null>(null);
  const failed = ref(false);
  const at = ref(0);

  async function load(): Promise<void> {
    const now = Math.round(runNow());
    try {
      const read = async (period: Period): Promise<Conservation> =>
        (await get<Conservation>("/conservation", { start: startOf(period, now) })).body;
      const [today, h24, d7, d30] = await Promise.all([read("today"), read("h24"), read("d7"), read("d30")]);
      laws.value = { today, h24, d7, d30 };
      at.value = now;
      failed.value = false;
    } catch {
      failed.value = true;
    }
  }

  void load();
  const timer = setInterval(() => void load(), REFRESH_MS);
  onUnmounted(() => {
    clearInterval(timer);
  });
  return { laws, failed, at };
}
