import { isPlainObject, OptionError, showValue } from '@posttrain/interfaces';

/** A parameter of a recipe: a value; numbers over the layers from first to last; or values by a part of the tensor's name. */
export type MergeSetting =
  | number
  | boolean
  | string
  | readonly number[]
  | readonly { readonly filter?: string | null; readonly value: MergeSetting }[];

/** The tensor that a setting is asked for. */
export interface SettingPlace {
  readonly tensor: string;
  /** Where its layer is among the layers of its slice, from 0 to 1; 0 outside the layers, as mergekit has it. */
  readonly depth: number;
}

const isScalar = (value: unknown): boolean =>
  typeof value === 'boolean' || typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value));

/** @throws OptionError when the value can be no setting */
export function checkSetting(where: string, name: string, value: unknown): void {
  if (isScalar(value)) return;
  const isList = Array.isArray(value) && value.length > 0;
  if (isList && value.every((entry) => typeof entry === 'number' && Number.isFinite(entry))) return;
  if (isList && value.every(isPlainObject)) {
    for (const [i, condition] of (value as Record<string, unknown>[]).entries()) {
      const odd = Object.keys(condition).find((key) => key !== 'filter' && key !== 'value');
      const { filter } = condition;
      if (odd === undefined && 'value' in condition && (filter == null || typeof filter === 'string')) {
        checkSetting(`${where}.${name}[${i}]`, 'value', condition.value);
      } else {
        const problem = `${name}[${i}] must have a value, and may have a filter (a part of tensors' names), not ${showValue(condition)}.`;
        throw new OptionError(odd === undefined ? 'INVALID_OPTION' : 'UNKNOWN_OPTION', where, name, problem);
      }
    }
    return;
  }
  const expects = 'a number, true or false, a text, a list of numbers over the layers, or a list of { filter, value }';
  throw new OptionError('INVALID_OPTION', where, name, `${name} is ${showValue(value)}; it must be ${expects}.`);
}

/** The value for a tensor: the first condition that its name meets, and numbers between those of a list. Undefined: none. */
export function settingAt(setting: MergeSetting, place: SettingPlace): number | boolean | string | undefined {
  if (typeof setting !== 'object') return setting;
  if (typeof setting[0] === 'number') {
    const points = setting as readonly number[];
    const at = place.depth * (points.length - 1);
    const [low, share] = [Math.floor(at), at - Math.floor(at)];
    return share === 0 ? points[low]! : (1 - share) * points[low]! + share * points[low + 1]!;
  }
  const conditions = setting as readonly { readonly filter?: string | null; readonly value: MergeSetting }[];
  const met = conditions.find(({ filter }) => filter == null || filter === '*' || place.tensor.includes(filter));
  return met && settingAt(met.value, place);
}
