/** Fetches files of this site, and keeps them for when there is no network. */

const NAME = "models";

export async function fetchKept(address: string): Promise<Response | null> {
  const cache = "caches" in self ? await caches.open(NAME) : null;
  const answer = await fetch(address).catch(() => null);
  if (answer?.ok) {
    await cache?.put(address, answer.clone());
    return answer;
  }
  return (await cache?.match(address)) ?? null;
}
