import { join } from 'node:path';
import type { Named } from '@posttrain/core-tensor/optim';
import { addSettings, type DecisiveSettings, OptionError, settingsOf } from '@posttrain/interfaces';
import {
  CheckpointError,
  latestCheckpoint,
  loadCheckpoint,
  refuseUsedFolder,
  saveCheckpoint,
} from '../run/checkpoint.js';
import { adapterIdentity, contentHash, modelIdentity, refuseOtherSettings } from '../run/identity.js';
import { copyState, joinState, splitState } from '../run/stored-state.js';
import type { Metrics } from '../tracking/metrics.js';
import type { ContinualMethod, ContinualStage, ContinualState, ContinualTask } from './continual-method.js';

/** How far a stream has come. */
export interface StreamProgress {
  /** Scores of every task before any training. */
  readonly baseline: readonly Metrics[];
  /** Those after each task that has been learnt. */
  readonly scores: readonly (readonly Metrics[])[];
  /** What is trained, after the last of them. */
  readonly parameters: Named;
}

/** What decides a stream: model, method, and every task with its rows and how it is trained. */
export async function streamIdentity(
  { model, adapter }: ContinualState,
  tasks: readonly ContinualTask[],
  method: ContinualMethod,
  stageOf: (task: ContinualTask) => ContinualStage,
): Promise<DecisiveSettings> {
  const settings: Record<string, DecisiveSettings[string]> = { ...(await modelIdentity(model)) };
  if (adapter) Object.assign(settings, await adapterIdentity('adapter', adapter));
  addSettings(settings, 'method', settingsOf(method));
  for (const [i, task] of tasks.entries()) {
    settings[`tasks.${i}`] = task.name;
    settings[`tasks.${i}.rows`] = contentHash(task.rows);
    if (task.evaluationRows) settings[`tasks.${i}.evaluationRows`] = contentHash(task.evaluationRows);
    addSettings(settings, `tasks.${i}.stage`, settingsOf(stageOf(task)));
  }
  return settings;
}

/** @throws OptionError where a checkpoint would lack what the method remembers */
export function refuseForgetful(where: string, method: ContinualMethod): void {
  const keeps = method.state !== undefined && method.load !== undefined;
  if (keeps || (method.end === undefined && method.state === undefined && method.load === undefined)) return;
  const problem = `${method.name} looks at tasks that were learnt, and has no state() and load() that a checkpoint could keep`;
  throw new OptionError(
    'INVALID_OPTION',
    where,
    'outputFolder',
    `${problem}; give it both, or leave outputFolder out.`,
  );
}

/** Where the run of a task goes, and its own checkpoints. */
export const folderOfTask = (folder: string, index: number): string => join(folder, `task-${index}`);

/** Writes `checkpoint-N` of a stream of which N tasks have been learnt, and deletes those before. */
export async function saveStream(
  folder: string,
  { baseline, scores, parameters }: StreamProgress,
  method: ContinualMethod,
  settings: DecisiveSettings,
): Promise<void> {
  const remembered = await copyState((await method.state?.()) ?? null, `what ${method.name} remembers`);
  const { json, tensors: arrays } = splitState(remembered);
  await saveCheckpoint(folder, {
    snapshot: { step: scores.length, tensors: parameters },
    arrays,
    keep: 1,
    state: { global_step: scores.length, posttrain_stream: { settings, baseline, scores, method: json } },
  });
}

/**
 * What the newest checkpoint of a stream has, given to the method too; undefined where there is none.
 *
 * @throws CheckpointError for one of another stream, or of a run that is none
 */
export async function loadStream(
  folder: string,
  method: ContinualMethod,
  settings: DecisiveSettings,
): Promise<StreamProgress | undefined> {
  const latest = await latestCheckpoint(folder);
  if (latest === undefined) return undefined;
  const { snapshot, state, arrays } = await loadCheckpoint(latest);
  const saved = state.posttrain_stream as
    | (Omit<StreamProgress, 'parameters'> & { readonly settings: DecisiveSettings; readonly method: unknown })
    | undefined;
  if (!saved) throw new CheckpointError(latest, 'was not written by trainStream.');
  refuseOtherSettings({ folder: latest, saved: saved.settings, current: settings });
  await method.load?.(await joinState({ json: saved.method, tensors: arrays }));
  return { baseline: saved.baseline, scores: saved.scores, parameters: snapshot.tensors };
}

/** @throws CheckpointError where a stream that begins would write into the folder of another one */
export async function refuseUsed(folder: string): Promise<void> {
  await refuseUsedFolder(folder);
  await refuseUsedFolder(folderOfTask(folder, 0));
}
