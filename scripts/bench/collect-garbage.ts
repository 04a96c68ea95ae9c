// Preloaded into the daemon's process: collects its garbage when its parent asks, and says so.

process.on('message', () => {
  globalThis.gc?.();
  process.send?.('collected');
});
process.channel?.unref();
