/** Signals that kill a busybox shell (it ignores SIGQUIT). */
export const KILLING_SIGNALS = [
  'SIGHUP',
  'SIGINT',
  'SIGABRT',
  'SIGKILL',
  'SIGUSR1',
  'SIGSEGV',
  'SIGPIPE',
  'SIGALRM',
  'SIGTERM',
] as const;
