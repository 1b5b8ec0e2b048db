/** Shares one live connection among tabs; each tab joins at the sequence of what it has loaded. */
import type { Connection, ConnectionEvents } from "./connection";
import type { Change, Hello, ToTab } from "./protocol";

/** So many changes are kept for tabs that load a moment later than the others. */
const KEPT = 2_000;

export type Tab = (message: ToTab) => void;

export interface Hub {
  join(tab: Tab, since: number): void;
  leave(tab: Tab): void;
}

export function createHub(connect: (events: ConnectionEvents) => Connection): Hub {
  const tabs = new Set<Tab>();
  let running = false;
  let hello: Hello | null = null;
  /** Every change above this sequence number, up to the newest, is in `kept`. */
  let floor = 0;
  let kept: Change[] = [];

  const tell = (message: ToTab): void => {
    tabs.forEach((tab) => {
      tab(message);
    });
  };

  const connection = connect({
    status: (state) => {
      if (state.phase === "refused") running = false;
      tell({ type: "status", state });
    },
    hello: (said) => {
      hello = said;
      tell({ type: "hello", hello: said });
    },
    change: (change) => {
      kept.push(change);
      if (kept.length > KEPT) floor = kept.shift()?.sequence ?? floor;
      tell({ type: "change", change });
    },
    reset: () => {
      running = false;
      kept = [];
      tell({ type: "reset" });
    },
  });

  function begin(since: number): void {
    running = true;
    floor = since;
    kept = [];
    connection.start(since);
  }

  return {
    join(tab, since) {
      tabs.add(tab);
      if (!running || since < floor) {
        begin(since);
        return;
      }
      tab({ type: "status", state: connection.state });
      if (hello !== null) tab({ type: "hello", hello });
      for (const change of kept) {
        if (change.sequence > since) tab({ type: "change", change });
      }
    },
    leave(tab) {
      tabs.delete(tab);
      if (tabs.size > 0) return;
      running = false;
      connection.stop();
    },
  };
}
