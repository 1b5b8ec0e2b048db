import { onUnmounted, ref, type Ref } from "vue";

/** Whether a media query holds, kept up to date while the component lives. */
export function useMedia(query: string): Ref<boolean> {
  const list = matchMedia(query);
  const holds = ref(list.matches);
  const update = (): void => {
    holds.value = list.matches;
  };
  list.addEventListener("change", update);
  onUnmounted(() => {
    list.removeEventListener("change", update);
  });
  return holds;
}
