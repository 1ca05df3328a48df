import { constants } from 'node:os';

/** The name of a signal by its number on this system: 11 is SIGSEGV. */
export function signalName(number: number): string {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`;
}
