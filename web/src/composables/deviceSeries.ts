/** The chart's lines for one device: fetched for a range, refreshed while the page is open. */
import { onUnmounted, ref, watch, type Ref } from "vue";

import { get } from "@/api/client";
import type { DeviceDetail, Series } from "@/api/types";
import type { Line } from "@/charts/options";
import { lineName } from "@/i18n/words";
import type { FieldRef } from "@/lib/fields";
import { widestStep, withGaps } from "@/lib/gaps";
import { unitOf } from "@/lib/units";
import { runNow } from "@/stores/clock";

export const RANGES = { h1: 3_600_000, h24: 86_400_000, d7: 604_800_000 } as const;
export type RangeName = keyof typeof RANGES;

const POINTS = 600;
const REFRESH_MS = 10_000;

export interface DeviceSeries {
  lines: Ref<Line[]>;
  window: Ref<{ start: number; end: number; every: number }>;
  failed: Ref<boolean>;
  busy: Ref<boolean>;
}

export function useDeviceSeries(
  device: Ref<DeviceDetail | null>,
  fields: Ref<FieldRef[]>,
  range: Ref<RangeName>,
): DeviceSeries {
  const lines = ref<Line[]>([]);
  const window = ref({ start: 0, end: 0, every: 0 });
  const failed = ref(false);
  const busy = ref(false);
  let asked = 0;

  async function load(): Promise<void> {
    const mine = ++asked;
    const subject = device.value;
    if (subject === null) return;
    const span = RANGES[range.value];
    const end = Math.round(runNow());
    const start = end - span;
    // An hour of a device that is heard each minute needs no averaging.
    const few = span / ((subject.expect_s ?? 60) * 1000) <= POINTS;
    const every = few ? 0 : Math.ceil(span / POINTS / 1000) * 1000;
    busy.value = true;
    try {
      const made = await Promise.all(
        fields.value.map(async (ref): Promise<Line> => {
          const { kind, field, logical } = ref;
          const query = { device: subject.id, kind, field, start, end, every_ms: every };
          const { body } = await get<Series>("/series", query).catch(async (reason: unknown) => {
            // More values than one answer may hold: let the server choose the windows.
            if (every === 0) return get<Series>("/series", { ...query, every_ms: null });
            throw reason;
          });
          const samples = withGaps(body.samples, widestStep(body.every_ms, subject.expect_s));
          const latest = subject.latest.find((event) => event.kind === kind)?.data ?? {};
          return { name: lineName(ref), unit: unitOf(field, latest), logical, samples };
        }),
      );
      if (mine !== asked) return;
      lines.value = made;
      window.value = { start, end, every };
      failed.value = false;
    } catch {
      if (mine === asked) failed.value = true;
    } finally {
      if (mine === asked) busy.value = false;
    }
  }

  watch([() => device.value?.id, fields, range], load, { immediate: true });
  const timer = setInterval(() => void load(), REFRESH_MS);
  onUnmounted(() => {
    clearInterval(timer);
    asked += 1;
  });
  return { lines, window, failed, busy };
}
