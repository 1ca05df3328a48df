import { layOutInside } from './inside.js';
import { checkName, kindOf } from './names.js';
import { layOutPackage } from './outside.js';
import type { LaidOut } from './write-changes.js';

/** Where a method goes: into a checkout of this repository, or into a package of its own. */
export type Target =
  | {
      /** Folder of the checkout. */
      readonly repository: string;
      /** The row of docs/coverage.json that it is, as `D16`. Left out: none. */
      readonly row?: string;
    }
  | {
      /** Folder of the package, which does not exist yet or is empty; it gives the package its name. */
      readonly package: string;
      /** Folder of the checkout whose versions it asks for. */
      readonly versions: string;
    };

/**
 * All that a method of a kind needs, as files that are to be written (`writeChanges`) and what is to be done then. Nothing is changed.
 *
 * @throws LayOutError UNKNOWN_KIND, BAD_NAME, FILE_EXISTS, BAD_ROW, BAD_TARGET
 */
export function layOut(kind: string, name: string, target: Target): LaidOut {
  const found = kindOf(kind);
  checkName(name);
  return 'package' in target
    ? layOutPackage(kind, found, name, target.package, target.versions)
    : layOutInside(kind, found, name, target.repository, target.row);
}
