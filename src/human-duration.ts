/**
 * An age as kubectl prints it: `95s`, `4m10s`, `3h5m`, `2d4h`, `400d`, `3y10d`. Coarser the longer it is, with the steps of
 * `HumanDuration` in k8s.io/apimachinery. Clocks may differ a little, so up to a second in the future is `0s`.
 */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes < 10) return `${minutes}m${unless0(seconds % 60, 's')}`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(minutes / 60);
  if (hours < 8) return `${hours}h${unless0(minutes % 60, 'm')}`;
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(hours / 24);
  if (days < 8) return `${days}d${unless0(hours % 24, 'h')}`;
  if (days < 365 * 2) return `${days}d`;
  const years = Math.trunc(days / 365);
  if (years < 8) return `${years}y${unless0(days % 365, 'd')}`;
  return `${years}y`;
}

function unless0(count: number, unit: string): string {
  return count === 0 ? '' : `${count}${unit}`;
}
