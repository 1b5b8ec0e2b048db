/** The chart of a device: one line a field, one axis a unit, gaps left open. */
import type { EChartsCoreOption } from "echarts/core";

import type { Locale } from "@/api/types";
import { decimal, fullTime } from "@/lib/format";
import type { Sample } from "@/lib/gaps";

export interface Line {
  name: string;
  unit: string;
  /** Yes or no, drawn in steps. */
  logical: boolean;
  samples: Sample[];
}

export interface ChartLook {
  text: string;
  line: string;
  surface: string;
  lines: readonly string[];
}

// None of them is one of the five colours, which only ever mean urgency.
export const LOOKS: Record<"dark" | "light", ChartLook> = {
  dark: { text: "#b0bdcb", line: "#263241", surface: "#18202a", lines: ["#a5b4fc", "#f0abfc", "#67e8f9", "#e2e8f0"] },
  light: { text: "#3f4d5d", line: "#d5dce5", surface: "#ffffff", lines: ["#3f3fc4", "#a21caf", "#0e7490", "#131b25"] },
};
/** So many lines can be told apart. */
export const MOST_LINES = 4;

export function chartOptions(
  lines: readonly Line[],
  range: { start: number; end: number },
  look: ChartLook,
  locale: Locale,
  calm: boolean,
): EChartsCoreOption {
  const units = [...new Set(lines.map((line) => line.unit))];
  return {
    animation: !calm,
    animationDuration: 250,
    color: [...look.lines],
    textStyle: { color: look.text },
    grid: { left: 12, right: 16, top: 36, bottom: 8, containLabel: true },
    tooltip: {
      trigger: "axis",
      // Drawn on the canvas: the page's policy allows no markup with inline styles.
      renderMode: "richText",
      backgroundColor: look.surface,
      borderColor: look.line,
      textStyle: { color: look.text },
      formatter: (points: { axisValue: number; seriesName: string; seriesIndex: number; value: Sample }[]) =>
        [
          fullTime(points[0]?.axisValue ?? 0, locale),
          ...points.flatMap(({ seriesName, seriesIndex, value: [, value] }) =>
            value === null ? [] : [`${seriesName}  ${decimal(value, locale, 3)} ${lines[seriesIndex]?.unit ?? ""}`],
          ),
        ].join("\n"),
    },
    dataZoom: [{ type: "inside", filterMode: "none" }],
    xAxis: {
      type: "time",
      min: range.start,
      max: range.end,
      axisLabel: { color: look.text, hideOverlap: true },
      axisLine: { lineStyle: { color: look.line } },
      splitLine: { show: false },
    },
    yAxis: units.map((unit, index) => ({
      type: "value",
      name: unit,
      scale: true,
      position: index === 0 ? "left" : "right",
      offset: index > 1 ? (index - 1) * 56 : 0,
      nameTextStyle: { color: look.text },
      axisLabel: { color: look.text, formatter: (value: number) => decimal(value, locale, 3) },
      splitLine: { show: index === 0, lineStyle: { color: look.line } },
    })),
    series: lines.map((line) => ({
      type: "line",
      name: line.name,
      yAxisIndex: units.indexOf(line.unit),
      data: line.samples,
      connectNulls: false,
      showSymbol: line.samples.length < 40,
      symbolSize: 5,
      step: line.logical ? "end" : false,
      lineStyle: { width: 1.8 },
      emphasis: { disabled: true },
      sampling: line.logical ? undefined : "lttb",
    })),
  };
}
