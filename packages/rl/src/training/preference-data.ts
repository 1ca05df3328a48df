import { OptionError, PosttrainError } from '@posttrain/interfaces';
import { contextOf } from '@posttrain/lm';
import { collectRows, type Rows, type UncheckedRows, warn } from '@posttrain/training';
import type { AnyPreferenceLoss } from '../preference/lift-preference-loss.js';
import { pairKind } from './pair-data.js';
import type { PreferenceData, PreferenceKind, PreferenceSettings } from './preference-kind.js';
import type { AnyPreferenceRow } from './preference-source.js';
import { rankedKind } from './ranked-data.js';
import { unpairedKind } from './unpaired-data.js';

/**
 * The settings with a `maxLength` that the model can take: what is longer than the context, less the virtual tokens of the
 * adapter, can neither be scored nor trained.
 *
 * @param given what was asked for, if anything; only the default is made shorter
 * @throws OptionError for one that is longer than the context
 */
export function preferenceSettings<Settings extends PreferenceSettings>(
  where: string,
  settings: Settings,
  given: number | undefined,
): Settings {
  const { model, adapter, reference, maxLength } = settings;
  const context = Math.min(contextOf(model.config, adapter), contextOf(model.config, reference.adapter));
  if (given === undefined) return { ...settings, maxLength: Math.min(maxLength, context) };
  if (given <= context) return settings;
  const taken = model.config.maxPositionEmbeddings - context;
  const besides = taken > 0 ? ` beside ${taken} virtual tokens` : '';
  const problem = `maxLength is ${given}; the context of ${model.name} holds ${context} tokens${besides}.`;
  throw new OptionError('INVALID_OPTION', where, 'maxLength', problem);
}

/** What is done with the rows that a loss takes. */
export function preferenceKind(
  loss: AnyPreferenceLoss,
  settings: PreferenceSettings,
): PreferenceKind<AnyPreferenceRow> {
  // A row of another kind is refused when it is read.
  if (loss.kind === 'unpaired') return unpairedKind(loss, settings) as PreferenceKind<never>;
  if (loss.kind === 'ranked') return rankedKind(loss, settings) as PreferenceKind<never>;
  return pairKind(loss, settings) as PreferenceKind<never>;
}

/** The rows that teach something, with what the reference thinks of them where the loss asks for that. Says what is left out. */
export async function preferenceData(
  where: string,
  option: 'rows' | 'evaluationRows',
  given: Rows<AnyPreferenceRow> | UncheckedRows,
  kind: PreferenceKind<AnyPreferenceRow>,
  settings: PreferenceSettings,
): Promise<PreferenceData> {
  const { rows } = await collectRows<AnyPreferenceRow>(where, given, settings, option);
  const data = await kind.ready(rows);
  const { maxLength } = settings;
  if (data.rows.length === 0) {
    const problem = `none of ${rows.length} ${option} has a prompt shorter than maxLength ${maxLength}${kind.needs}`;
    throw new PosttrainError(kind.code, `${where}: ${problem}`);
  }
  const say = (count: number, why: string) => {
    const what = option === 'rows' ? kind.called : `${kind.called} of ${option}`;
    if (count > 0) warn(settings, `${where}: ${count} of ${rows.length} ${what} are left out: ${why}`);
  };
  say(data.identical, `nothing differs within maxLength ${maxLength}`);
  say(data.dropped, 'their prompt fills maxLength');
  return data;
}
