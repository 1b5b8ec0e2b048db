/**
 * The shapes of the HTTP interface, as generated from its OpenAPI description.
 *
 * Times are integer milliseconds since the epoch (UTC).
 */
import type { Names } from "./schema";

export type {
  Alert,
  AlertColour,
  AlertPage,
  AlertState,
  AlertStep,
  AlertWithSteps,
  Colour,
  ColourChange,
  CommandResult,
  Conservation,
  DeadLetter,
  DeadLetterPage,
  Device,
  DeviceCommand,
  DeviceDetail,
  DeviceEvent,
  DeviceEvents,
  DevicePage,
  Edge,
  EdgeFlow,
  FlowView,
  Job,
  Level,
  Loss,
  LossPage,
  PathPart,
  Presence,
  ProblemBody as Problem,
  Process,
  Series,
  Session,
  System,
  Tree,
  TreeNode,
} from "./schema";

export type Locale = "zh" | "en";
/** A text in both languages. */
export type Words = Names;
export type Position = [longitude: number, latitude: number];
