/**
 * Alarm tones, synthesised; red repeats until somebody has acknowledged it.
 *
 * A browser lets a page sound only after a click, so the console says when it is still mute;
 * of several tabs only the one that holds the lock sounds.
 */
import { computed, reactive, readonly, watch, type DeepReadonly } from "vue";

import type { Alert, AlertColour } from "@/api/types";
import { isAlertColour, needsAttention, rankOf } from "@/lib/colours";

import { onAlertChange, unacknowledged } from "./alerts";
import { usePreferences } from "./preferences";

interface Tone {
  /** Pitches (Hz) in order, each `length` seconds long. */
  pitches: readonly number[];
  length: number;
  wave: OscillatorType;
  volume: number;
}

// Urgency is told by pitch, pace and number of pulses, as alarm practice has it (IEC 60601-1-8).
const TONES: Record<AlertColour, Tone> = {
  red: { pitches: [988, 784, 988, 784, 988, 784], length: 0.16, wave: "square", volume: 0.16 },
  orange: { pitches: [784, 659, 784], length: 0.2, wave: "triangle", volume: 0.24 },
  yellow: { pitches: [659, 523], length: 0.22, wave: "triangle", volume: 0.2 },
  blue: { pitches: [523], length: 0.25, wave: "sine", volume: 0.16 },
};
const REPEAT_MS = 2_600;
const QUIET_MS = 900;

const preferences = usePreferences();
const store = reactive({ unlocked: false });
let context: AudioContext | null = null;
let leader = false;
let lastPlayed = { at: 0, rank: -1 };

function play(colour: AlertColour, sample = false): void {
  if (!preferences.sound || !(leader || sample) || context?.state !== "running") return;
  const tone = TONES[colour];
  let at = context.currentTime + 0.02;
  for (const pitch of tone.pitches) {
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    oscillator.type = tone.wave;
    oscillator.frequency.value = pitch;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(tone.volume, at + 0.015);
    gain.gain.setValueAtTime(tone.volume, at + tone.length * 0.7);
    gain.gain.linearRampToValueAtTime(0, at + tone.length);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(at);
    oscillator.stop(at + tone.length);
    at += tone.length * 1.15;
  }
  lastPlayed = { at: Date.now(), rank: rankOf(colour) };
}

function lead(): void {
  if (leader || !("locks" in navigator)) {
    leader = true;
    return;
  }
  void navigator.locks.request("estate-sound", async () => {
    leader = true;
    await new Promise(() => undefined); // Held until the tab closes.
  });
}

/** Turn the sound on; must be called from a click. */
export async function enableSound(): Promise<void> {
  preferences.sound = true;
  context ??= new AudioContext();
  await context.resume();
  store.unlocked = context.state === "running";
  lead();
  play("blue", true); // What it sounds like, and that it does.
}

export function muteSound(): void {
  preferences.sound = false;
}

function changed(alert: Alert, before: Alert | undefined): void {
  if (!needsAttention(alert) || alert.late) return;
  const asks = before === undefined || alert.attention > before.attention;
  // In a flood the tones would pile up; a more urgent one still breaks in.
  const covered = Date.now() - lastPlayed.at < QUIET_MS && rankOf(alert.colour) <= lastPlayed.rank;
  if (asks && !covered && isAlertColour(alert.colour)) play(alert.colour);
}

const urgent = computed(() => unacknowledged.value.some((alert) => rankOf(alert.colour) === 4));
let repeat: ReturnType<typeof setInterval> | undefined;

/** Begin to listen to the alerts. */
export function startSound(): void {
  onAlertChange(changed);
  watch(
    urgent,
    (now) => {
      clearInterval(repeat);
      if (now) repeat = setInterval(() => { play("red"); }, REPEAT_MS);
    },
    { immediate: true },
  );
}

export const useSound = (): DeepReadonly<typeof store> => readonly(store);
/** Whether the person wants sound but the browser still waits for a click. */
export const soundWaits = computed(() => preferences.sound && !store.unlocked);
