/** Keeps the built page, so that it opens without a network; the models that were used are kept by the page itself. */

/// <reference lib="webworker" />
// Put in by the build: the files of the page, and a name that changes with them.
declare const __FILES__: string[];
declare const __VERSION__: string;

const worker = self as unknown as ServiceWorkerGlobalScope;
const PREFIX = "page-";
const NAME = PREFIX + __VERSION__;

worker.oninstall = (event) => {
  event.waitUntil(
    caches
      .open(NAME)
      .then((cache) => cache.addAll(__FILES__))
      .then(() => worker.skipWaiting()),
  );
};

worker.onactivate = (event) => {
  const removeOthers = async () => {
    const names = await caches.keys();
    await Promise.all(
      names.filter((name) => name.startsWith(PREFIX) && name !== NAME).map((name) => caches.delete(name)),
    );
    await worker.clients.claim();
  };
  event.waitUntil(removeOthers());
};

worker.onfetch = (event) => {
  const { request } = event;
  // Built files have their content in their name. All others may change: the network first.
  const isBuilt = new URL(request.url).pathname.includes("/assets/");
  const answer = async () => {
    const cache = await caches.open(NAME);
    const kept = await cache.match(request, { ignoreSearch: true, ignoreVary: true });
    if (kept && isBuilt) return kept;
    return fetch(request).catch((error) => {
      if (kept) return kept;
      throw error;
    });
  };
  if (request.method === "GET") event.respondWith(answer());
};
