// Medians, and the Markdown table that a run ends in.

export function median(list) {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median over the rounds of `ours[round] / theirs[round]`. */
export function ratio(ours, theirs) {
  return median(ours.map((it, round) => it / theirs[round]));
}

/** How far the rounds' ratios lie apart: the least and the most. */
export function spread(ours, theirs) {
  const all = ours.map((it, round) => it / theirs[round]);
  return [Math.min(...all), Math.max(...all)];
}

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Three digits that count. */
export function show(number) {
  if (!Number.isFinite(number)) return 'n/a';
  const size = Math.abs(number);
  if (size >= 100) return number.toFixed(0);
  return size >= 10 ? number.toFixed(1) : number.toFixed(2);
}

/** Whether `value` keeps a bound: shown behind it. */
export function verdict(value, most) {
  return Number.isFinite(value) && value <= most ? 'kept' : '**missed**';
}
