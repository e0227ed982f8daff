// One line a test, as cargo writes them, and why it failed; tests/live/main.rs reads and counts these lines.
import { inspect } from 'node:util';

export default async function* report(events) {
  const path = [];
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      path.length = data.nesting;
      path.push(data.name);
    } else if (type === 'test:diagnostic') {
      if (data.nesting > 0 || !/^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /.test(data.message)) yield `     ${data.message}\n`;
    } else if (type === 'test:pass' || type === 'test:fail') {
      const suite = data.details?.type === 'suite';
      const error = data.details?.error;
      const names = [...path.slice(0, data.nesting), data.name];
      if (type === 'test:fail' && (!suite || error?.failureType === 'hookFailed')) {
        const cause = error?.cause ?? error;
        yield `test ${names.join(': ')} ... FAILED\n`;
        yield `${String(cause?.stack ?? inspect(cause)).split('\n').map((line) => `     ${line}`).join('\n')}\n`;
      } else if (type === 'test:pass' && !suite) {
        const skipped = data.skip !== undefined || data.todo !== undefined;
        const ms = Math.round(data.details?.duration_ms ?? 0);
        yield skipped ? `test ${names.join(': ')} ... FAILED\n     skipped: nothing here may be\n` : `test ${names.join(': ')} ... ok (${ms} ms)\n`;
      }
    }
  }
}
