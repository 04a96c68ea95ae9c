/** Cuts the bytes at the given places, in whatever order they come and however far they reach. */
export function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const points = [0, ...at.map(point => point % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return points.slice(1).map((point, index) => bytes.subarray(points[index], point));
}

/** One byte a chunk. */
export function byteByByte(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
}
