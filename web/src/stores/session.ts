/** Who is signed in. */
import { reactive, readonly, type DeepReadonly } from "vue";

import { ApiError, get, post, remove, setCsrf, whenSignedOut } from "@/api/client";
import type { Session } from "@/api/types";

interface SessionStore {
  /** `unknown` until the server was asked, `away` when it cannot be reached. */
  phase: "unknown" | "away" | "out" | "in";
  session: Session | null;
  /** Whether a session ended while the page was open. */
  expired: boolean;
}

const store = reactive<SessionStore>({ phase: "unknown", session: null, expired: false });

function adopt(session: Session): void {
  setCsrf(session.csrf);
  store.session = session;
  store.phase = "in";
  store.expired = false;
}

function forget(expired: boolean): void {
  setCsrf("");
  store.session = null;
  store.phase = "out";
  store.expired = expired;
}

whenSignedOut(() => {
  if (store.phase === "in") forget(true);
});

export async function loadSession(): Promise<void> {
  try {
    adopt((await get<Session>("/session")).body);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) forget(store.phase === "in");
    else if (store.phase !== "in") store.phase = "away";
  }
}

export async function signIn(name: string, password: string): Promise<void> {
  adopt((await post<Session>("/session", { name, password })).body);
}

export async function signOut(): Promise<void> {
  await remove("/session");
  forget(false);
}

/** Set the password; `current` is needed unless a one-time link opened this session. */
export async function setPassword(password: string, current: string | null): Promise<void> {
  await post<unknown>("/session/password", current === null ? { password } : { password, current });
  await loadSession();
}

export const useSession = (): DeepReadonly<SessionStore> => readonly(store);
