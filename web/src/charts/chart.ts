/** ECharts with only what the console draws. */
import { LineChart } from "echarts/charts";
import { DataZoomComponent, GridComponent, TooltipComponent } from "echarts/components";
import { init, use, type ECharts } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([LineChart, GridComponent, TooltipComponent, DataZoomComponent, CanvasRenderer]);

export const createChart = (element: HTMLElement): ECharts => init(element);
export type { ECharts };
