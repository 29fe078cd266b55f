/** Fetches files of this site, and keeps them for when there is no network. */

const NAME = "models";

export async function fetchKept(address: string): Promise<Response | null> {
  // A private window may have no cache, and a full disk keeps nothing more: neither is needed.
  const cache = "caches" in self ? await caches.open(NAME).catch(() => null) : null;
  const answer = await fetch(address).catch(() => null);
  if (answer?.ok) {
    await cache?.put(address, answer.clone()).catch(() => undefined);
    return answer;
  }
  return (await cache?.match(address)) ?? null;
}
