import { createRouter, createWebHistory } from "vue-router";

import LivePage from "@/pages/LivePage.vue";

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: "/", name: "live", component: LivePage },
    { path: "/map", name: "map", component: LivePage },
    { path: "/alerts/:alert", name: "alert", component: LivePage },
    { path: "/places/:place", name: "place", component: LivePage },
    { path: "/devices", name: "devices", component: () => import("@/pages/DevicesPage.vue") },
    { path: "/devices/:device", name: "device", component: () => import("@/pages/DevicePage.vue") },
    { path: "/system", name: "system", component: () => import("@/pages/SystemPage.vue") },
    { path: "/:rest(.*)*", name: "lost", component: () => import("@/pages/LostPage.vue") },
  ],
});
