/** The run's clock: real time, or the scaled time that a simulated run shares. */
import { reactive, readonly, type DeepReadonly } from "vue";

import type { Hello } from "@/live/protocol";

interface ClockStore {
  /** The run's time, ms UTC; moves once a second. */
  now: number;
  /** The browser's own time at the same tick, ms UTC. */
  real: number;
  speed: number;
  known: boolean;
}

const store = reactive<ClockStore>({ now: Date.now(), real: Date.now(), speed: 1, known: false });
let anchor: Hello = { time: Date.now(), speed: 1, at: Date.now() };

/** The run's time at this very moment. */
export const runNow = (): number => anchor.time + (Date.now() - anchor.at) * anchor.speed;

function tick(): void {
  store.now = runNow();
  store.real = Date.now();
}

export function setClock(hello: Hello): void {
  anchor = hello;
  store.speed = hello.speed;
  store.known = true;
  tick();
}

setInterval(tick, 1000);

export const useClock = (): DeepReadonly<ClockStore> => readonly(store);
