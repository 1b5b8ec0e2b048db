/** The only place that speaks HTTP: cookies, the CSRF header, problems as errors. */
import type { Problem } from "./types";

const PREFIX = "/api/v1";
const TIMEOUT_MS = 20_000;

/** An answer that was not a success; `status` is 0 when no answer came at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem | null,
  ) {
    super(problem?.detail ?? problem?.title ?? `HTTP ${String(status)}`);
  }
}

export interface Answer<T> {
  body: T;
  /** The live sequence that the answer reflects, where the endpoint states it. */
  sequence: number | null;
}

export type Query = Record<string, string | number | null | undefined>;

let csrf = "";
let onSignedOut: () => void = () => undefined;

export function setCsrf(token: string): void {
  csrf = token;
}

/** Register what happens when the server no longer knows the session. */
export function whenSignedOut(handler: () => void): void {
  onSignedOut = handler;
}

export function urlOf(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") parameters.set(key, String(value));
  }
  const text = parameters.toString();
  return PREFIX + path + (text === "" ? "" : `?${text}`);
}

async function problemOf(response: Response): Promise<Problem | null> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return null; // A proxy's error page: the status alone has to say it.
  }
}

async function request<T>(method: string, url: string, body?: unknown): Promise<Answer<T>> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (method !== "GET") headers["X-Estate-CSRF"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, null);
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    if (response.status === 401 && !url.endsWith("/session")) onSignedOut();
    throw new ApiError(response.status, problem);
  }
  const sequence = response.headers.get("X-Estate-Sequence");
  return {
    body: response.status === 204 ? (undefined as T) : ((await response.json()) as T),
    sequence: sequence === null ? null : Number(sequence),
  };
}

export const get = <T>(path: string, query?: Query): Promise<Answer<T>> =>
  request<T>("GET", urlOf(path, query));
export const post = <T>(path: string, body: unknown): Promise<Answer<T>> =>
  request<T>("POST", urlOf(path), body);
export const remove = (path: string): Promise<Answer<undefined>> =>
  request<undefined>("DELETE", urlOf(path));
