/** What decides a result, by name: values that can be written down, compared and shown. */
export type DecisiveSettings = Readonly<Record<string, string | number | boolean>>;

/** A method value that says what it was made with: a loss and its β, a reward and its column. */
export interface HasSettings {
  readonly name?: string;
  readonly settings: DecisiveSettings;
}

/** What a setting that was not given is called. */
export const NOT_GIVEN = 'not given';

/**
 * What stands for a value where two runs are compared. Primitives are themselves. A value with `settings` is its name and
 * those. Lists and plain objects are their parts, by path. A function is its name and a hash of its source text: an edited
 * function is another one, but what a closure has captured cannot be seen. Other objects are the name of their class.
 */
export function settingsOf(value: unknown): DecisiveSettings[string] | DecisiveSettings {
  if (value === undefined) return NOT_GIVEN;
  if (value === null) return 'null';
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
  if (hasSettings(value)) return { ...(value.name !== undefined && { name: value.name }), ...value.settings };
  if (typeof value === 'function') return `${value.name || 'function'} ${hashText(value.toString())}`;
  const isPlain = Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value));
  if (!isPlain) return Object.getPrototypeOf(value).constructor?.name ?? 'object';
  const parts: Record<string, DecisiveSettings[string]> = {};
  for (const [key, part] of Object.entries(value)) addSettings(parts, key, settingsOf(part));
  return parts;
}

/** Puts the settings of one option under its name; several become `name.part`. */
export function addSettings(
  into: Record<string, DecisiveSettings[string]>,
  name: string,
  settings: DecisiveSettings[string] | DecisiveSettings,
): void {
  if (typeof settings !== 'object') {
    into[name] = settings;
    return;
  }
  for (const [part, value] of Object.entries(settings)) into[part === 'name' ? name : `${name}.${part}`] = value;
}

/** A setting that two runs do not share, with the value of each. */
export interface SettingDifference {
  readonly name: string;
  readonly was: DecisiveSettings[string];
  readonly is: DecisiveSettings[string];
}

/** What differs between the settings of two runs. One that only one of them has is `NOT_GIVEN` in the other. */
export function settingDifferences(saved: DecisiveSettings, current: DecisiveSettings): SettingDifference[] {
  const names = new Set([...Object.keys(saved), ...Object.keys(current)]);
  return [...names].flatMap((name) => {
    const [was, is] = [saved[name] ?? NOT_GIVEN, current[name] ?? NOT_GIVEN];
    return was === is ? [] : [{ name, was, is }];
  });
}

/** Differences as errors show them: `steps was 3 and is 4; β was …`. */
export const showDifferences = (differences: readonly SettingDifference[]): string =>
  differences.map(({ name, was, is }) => `${name} was ${was} and is ${is}`).join('; ');

function hasSettings(value: unknown): value is HasSettings {
  return (
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    typeof (value as Partial<HasSettings>).settings === 'object' &&
    (value as HasSettings).settings !== null
  );
}

/** A hash of a text that tells edits apart: 53 bits (cyrb53), 14 hexadecimal digits. Not for secrets. */
export function hashText(textToHash: string): string {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < textToHash.length; i++) {
    const code = textToHash.charCodeAt(i);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(16).padStart(14, '0');
}
